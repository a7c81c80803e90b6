"""What one Camunda says, in the other's words. Pure: JSON in, JSON out.

Ids are named by functions that come in (`names`); what the other dialect has no place for is left
out, and gateway/COMPATIBILITY.md says so. Nothing here decides where a request goes.
"""
