"""The gaps of the labs: what the learner writes, how it is checked, and the hints; one module a paper."""
