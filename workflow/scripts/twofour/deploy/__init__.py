"""From weights to deployed models: export, builds for backends, accuracy and speed."""
