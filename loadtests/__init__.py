"""Campaign-shaped load: stand-in model API, drivers, benchmarks and recorded results."""
