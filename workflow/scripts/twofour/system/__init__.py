"""What every program needs: errors, files, the command line, processes, the machine."""
