"""Running a pair: plan, stages, pre-flight check and results."""
