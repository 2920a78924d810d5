"""How well representations of the same cells organise a phenotype: kernels on arrays."""
