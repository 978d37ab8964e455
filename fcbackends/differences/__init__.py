"""The first step at which two runs part: the step, the operation, the element, and why."""
