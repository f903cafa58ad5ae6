"""Expert rules: what somebody who knows OCPP would remark on seeing an exchange, found as traffic passes."""
