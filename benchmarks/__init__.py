"""Figures of vpcctl beside the raw floor and its peers."""
