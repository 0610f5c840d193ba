"""The course: networks with a fault, the report of somebody who has it, and what a repair must do; pure."""
