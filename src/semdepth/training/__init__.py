"""Where models, losses and data meet: the objective, and the loop that follows it down."""
