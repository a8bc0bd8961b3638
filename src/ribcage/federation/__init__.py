"""Exchange between hospitals and federated learning."""
