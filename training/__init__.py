"""Training of GPEN: aligned crops, degradations, losses, the adversary, and a loop that can be stopped and resumed."""
