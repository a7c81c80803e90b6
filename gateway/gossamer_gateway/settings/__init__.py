"""What people change while gateways run: kept, logged, and the same on every gateway."""
