"""What a release must pass: `make release-check`. A check returns its findings; none is good."""
