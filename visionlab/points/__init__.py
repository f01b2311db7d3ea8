"""Point clouds: networks that segment them, labels that are wrong, and how those are found."""
