"""The SOAP contracts of OCPP 1.2, 1.5 and 1.6 as package data; no code lives here."""
