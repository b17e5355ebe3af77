"""A cluster in one process from one seed: time, network, disks, processes, clients, faults and what must hold."""
