"""Objects and functions, whatever library they are of: they answer by a method."""
