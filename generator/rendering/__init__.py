"""The template: rendered by copier, and updated in a scaffold that exists."""
