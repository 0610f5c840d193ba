"""vpcctl: real VPCs on one Linux host."""

__version__ = "0.1.0"
