"""Jobs as plain functions from paths and a configuration to one artifact.

Tasks use Ray and MLflow and know nothing of Prefect or of the command line. Nothing is
exported here: import the module that you need.
"""
