"""What `serve` prints: where to point chargers, and a charger to try it with."""

GREETING = """
  SOAP chargers (OCPP 1.2, 1.5, 1.6)   {soap}
  JSON chargers (OCPP 1.6, 1.5, 1.2)   {json}
  inspector, API, metrics              {admin}

  Be a SOAP charger that boots:

curl -sS {soap} -H 'Content-Type: application/soap+xml' --data-binary \\
'<s:Envelope
  xmlns:s="http://www.w3.org/2003/05/soap-envelope"
  xmlns:a="http://www.w3.org/2005/08/addressing">
  <s:Header>
    <chargeBoxIdentity xmlns="urn://Ocpp/Cs/2012/06/">CP-0001</chargeBoxIdentity>
    <a:Action>/BootNotification</a:Action>
    <a:MessageID>urn:uuid:f0a1c2d4-0001-4000-8000-000000000001</a:MessageID>
  </s:Header>
  <s:Body>
    <bootNotificationRequest xmlns="urn://Ocpp/Cs/2012/06/">
      <chargePointVendor>ACME</chargePointVendor>
      <chargePointModel>Old Faithful</chargePointModel>
    </bootNotificationRequest>
  </s:Body>
</s:Envelope>'

  Then look up what passed:            {command} traffic list

"""
