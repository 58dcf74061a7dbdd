"""What a run is on disk: parameters, outputs, jobs, fingerprints, stamps, manifest, ledger."""
