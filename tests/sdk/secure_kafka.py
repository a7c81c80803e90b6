"""A broker as one meets them: TLS under an authority of its own, SASL, rights for each user.

Its second listener is secured; the first one stays as it is, for what tests do by hand, and may
do everything.
"""

from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from tests.certificates import self_signed
from tests.kafka_fixture import Kafka
from tests.patience import PATIENCE_S

from gossamer_gateway.runs.kafka.topics import JOBS, JOBS_DEAD, RESULTS
from gossamer_node.local_engines import Progress
from gossamer_node.local_engines.processes import free_ports

PLAIN_USER, PLAIN_PASSWORD = "plain", "a plain secret"

_LOGIN = "org.apache.kafka.common.security"

RIGHTS = (
    (ResourceType.TOPIC, JOBS, ResourcePatternType.LITERAL, AclOperation.READ),
    (ResourceType.TOPIC, RESULTS, ResourcePatternType.LITERAL, AclOperation.WRITE),
    (ResourceType.TOPIC, JOBS_DEAD, ResourcePatternType.LITERAL, AclOperation.WRITE),
    (ResourceType.GROUP, "workflow-worker.", ResourcePatternType.PREFIXED, AclOperation.READ),
)
"""All that a worker needs; the how-to has the same list."""


class SecureKafka(Kafka):
    """The broker.

    Attributes:
        secured: `127.0.0.1:PORT` of the listener for workers.
        ca_file: PEM of its authority.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        super().__init__(folder, progress)
        port, controller = free_ports(2)
        self.secured = f"127.0.0.1:{port}"
        folder.mkdir(exist_ok=True)
        self.ca_file, key_file = self_signed(folder)
        store = folder / "server-with-key.pem"
        store.write_bytes(key_file.read_bytes() + self.ca_file.read_bytes())
        listeners = f"PLAINTEXT://{self.address},SECURE://{self.secured}"
        secure = "listener.name.secure"
        self._settings = {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listeners,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listener.security.protocol.map": (
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL"
            ),
            f"{secure}.ssl.keystore.type": "PEM",
            f"{secure}.ssl.keystore.location": str(store),
            f"{secure}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            f"{secure}.plain.sasl.jaas.config": (
                f'{_LOGIN}.plain.PlainLoginModule required user_{PLAIN_USER}="{PLAIN_PASSWORD}";'
            ),
            f"{secure}.scram-sha-512.sasl.jaas.config": (
                f"{_LOGIN}.scram.ScramLoginModule required;"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def _admin(self) -> AdminClient:
        # What it answers ends with it: keep it.
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def know(self, user: str, password: str) -> None:
        """From now on there is a user of SCRAM."""
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        new = UserScramCredentialUpsertion(user, credential, password.encode())
        admin = self._admin()
        for done in admin.alter_user_scram_credentials([new]).values():
            done.result(PATIENCE_S)

    def allow(self, user: str) -> None:
        """From now on a user may do what a worker has to."""
        rights = [
            AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for kind, name, pattern, operation in RIGHTS
        ]
        admin = self._admin()
        for done in admin.create_acls(rights).values():
            done.result(PATIENCE_S)
