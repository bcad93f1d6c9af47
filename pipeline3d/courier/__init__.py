"""The courier: delivers webhook messages from the outbox, signed, with patience, off every request's path."""
