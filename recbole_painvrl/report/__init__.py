"""Records of runs, and the tables, pictures and pages that are made of them."""
