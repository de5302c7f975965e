"""One recommender a module, found by the module's name, which is the model's in lower case."""
