"""One module per group of claims: parameters in, tidy tables and measurements out."""
