"""Training of supernets and of single networks: trainer, schedule, sampling, progressive shrinking."""
