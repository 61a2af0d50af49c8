"""Metric depth from one camera, without ROS: numpy, torch, open_clip and safetensors only."""
