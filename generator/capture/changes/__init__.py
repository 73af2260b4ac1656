"""What the session changed in code after its source had run: finding it, and putting it back."""
