"""Whether packets leave a VPC and answers come back, judged by what the host says."""
