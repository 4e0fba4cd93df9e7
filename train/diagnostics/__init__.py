"""What is measured of the optimizer: update sizes, gradient noise, curvature."""
