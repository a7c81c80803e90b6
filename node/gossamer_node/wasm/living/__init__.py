"""Instances that live on: how many fit, who gets one, their keys and what they keep."""
