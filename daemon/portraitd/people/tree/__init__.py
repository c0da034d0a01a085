"""The people folder as a reconciler: observed state, desired state, diff, plan, apply."""
