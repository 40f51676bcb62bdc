"""The view models: what each page says, as plain values that templates only loop over."""
