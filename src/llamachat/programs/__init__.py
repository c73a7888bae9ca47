"""What programs need of a model: one answer or many, of a given shape, about texts of any length."""
