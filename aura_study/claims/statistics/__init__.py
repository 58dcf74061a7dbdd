"""What samples say: intervals of the quantity that is printed, and what they decide."""
