"""Training on several processes, one for each device: ranks of MPI that exchange gradients."""
