"""How a weighting is made and called: found by trying what it does, on copies of it."""
