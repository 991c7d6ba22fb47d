class Actuator:
    """Serves nothing: no probe asks here, and its port 8080 could be taken."""

    @staticmethod
    def start(port, info):
        pass
