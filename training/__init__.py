"""Training of GPEN: aligned crops, degradations, losses, discriminator, and a training loop that can be resumed."""
