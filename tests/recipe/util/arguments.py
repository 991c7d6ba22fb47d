import os
import sys


def get_kafka_brokers():
    return os.environ["SPRING_CLOUD_STREAM_KAFKA_BINDER_BROKERS"]


def get_env_info():
    return ""


def get_channel_topic(channel):
    """Returns the value of the first argument that sets this channel's destination."""
    name = "spring.cloud.stream.bindings." + channel + ".destination="
    for argument in sys.argv[1:]:
        if argument.lstrip("-").startswith(name):
            return argument.lstrip("-")[len(name) :]
    raise SystemExit("the argument --" + name + " is missing")
