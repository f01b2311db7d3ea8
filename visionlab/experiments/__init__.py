"""Named, seeded comparisons of variants, one module a lab; they return data and draw nothing."""
