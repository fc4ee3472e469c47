#!/usr/bin/env python3
"""Whether the CloudFormation template, the Terraform file and the documents say the same of AWS, and nothing that is not there.

usage: check_aws.py [STANDPIPE] (the program that has to understand the configuration in the head of each template, and
that of the task definition)

Beside the two templates' agreement: policies in documents are complete and name actions that exist; `aws` commands have
operations and parameters that exist; task definitions, profiles and manifests parse. What packaging/ecs and packaging/eks
have agrees in its parts and with docs/aws.md. Needs botocore, cfn-lint and python-hcl2.
"""

import configparser
import functools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import botocore.session
import botocore.validate
import cfnlint.data.AdditionalSpecs
import hcl2
import yaml
from botocore import xform_name
from cfnlint.decode import cfn_yaml

ROOT = pathlib.Path(__file__).parent.parent
TEMPLATE = ROOT / "packaging/cloudformation/standpipe.yaml"
TERRAFORM = ROOT / "packaging/terraform/main.tf"
EXAMPLE = ROOT / "packaging/terraform/example/main.tf"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "packaging").rglob("README.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PUTS = ["firehose:PutRecord", "firehose:PutRecordBatch"]
# Of the AWS CLI alone: parameters of every operation, and operations that are no API's.
CLI_PARAMETERS = {"query", "output", "region", "profile"}
CLI_OPERATIONS = {("cloudformation", "deploy"): {"stack-name", "template-file", "capabilities", "parameter-overrides"}}

faults = []


def fault(where, what):
    faults.append(f"{where.relative_to(ROOT) if isinstance(where, pathlib.Path) else where}: {what}")


def listed(value):
    return value if isinstance(value, list) else [value]


# What the template says, with <Name> for each reference.


def of_template(value, conditions):
    """A value in which references are <Name> or <Name.arn>, and statements that a condition guards carry its parameter."""
    if isinstance(value, list):
        items = [of_template(item, conditions) for item in value]
        return [item for item in items if item is not None]
    if not isinstance(value, dict):
        return value
    if list(value) == ["Ref"]:
        name = value["Ref"]
        return None if name == "AWS::NoValue" else f"<{name}{'.arn' if name == 'ProducerPolicy' else ''}>"
    if list(value) == ["Fn::GetAtt"]:
        return "<{}.{}>".format(value["Fn::GetAtt"][0], value["Fn::GetAtt"][1].lower())
    if list(value) == ["Fn::Sub"]:
        text = re.sub(r"\$\{([\w:]+)\.Arn\}", r"<\1.arn>", value["Fn::Sub"])
        text = re.sub(r"\$\{([\w:]+)\}", r"<\1>", text)
        stream = r"arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:<ErrorLogGroup>:log-stream:<ErrorLogStream>"
        return text.replace(stream, "<ErrorLogStream.arn>")
    if list(value) == ["Fn::If"]:
        condition, then, _ = value["Fn::If"]
        return {**of_template(then, conditions), "OnlyIf": conditions[condition]}
    return {key: of_template(part, conditions) for key, part in value.items()}


def policy_of_template(document):
    statements = []
    for statement in document["Statement"]:
        principal = statement.get("Principal")
        statements.append({
            "effect": statement["Effect"],
            "actions": sorted(listed(statement["Action"])),
            "resources": sorted(listed(statement.get("Resource", []))),
            "principal": principal if principal is None or isinstance(principal, str) else dict(principal),
            "condition": statement.get("Condition", {}),
            "only_if": statement.get("OnlyIf"),
        })
    return statements


def template_facts():
    template = cfn_yaml.load(str(TEMPLATE))
    conditions = {name: test["Fn::Equals"][0]["Ref"] for name, test in template["Conditions"].items()}
    resources = {
        name: of_template(resource.get("Properties", {}), conditions) for name, resource in template["Resources"].items()
    }
    bucket, stream = resources["Bucket"], resources["Stream"]
    target = stream["ExtendedS3DestinationConfiguration"]
    upload = bucket["LifecycleConfiguration"]["Rules"][0]
    return {
        "parameters": {
            name: (str(about["Default"]), about["Description"]) for name, about in template["Parameters"].items()
        },
        "outputs": {
            name: (of_template(about["Value"], conditions), about["Description"])
            for name, about in template["Outputs"].items()
        },
        "bucket": {
            "encryption": bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0][
                "ServerSideEncryptionByDefault"]["SSEAlgorithm"],
            "public access blocked": sorted(bucket["PublicAccessBlockConfiguration"].values()),
            "owner": bucket["OwnershipControls"]["Rules"][0]["ObjectOwnership"],
            "uploads end after": upload["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"],
        },
        "log": {
            "group": resources["ErrorLogGroup"]["LogGroupName"],
            "days": resources["ErrorLogGroup"]["RetentionInDays"],
            "stream": resources["ErrorLogStream"]["LogStreamName"],
        },
        "stream": {
            "name": stream["DeliveryStreamName"],
            "takes direct puts": stream["DeliveryStreamType"] == "DirectPut",
            "key": stream["DeliveryStreamEncryptionConfigurationInput"]["KeyType"],
            "bucket": target["BucketARN"],
            "role": target["RoleARN"],
            "prefix": target["Prefix"],
            "error prefix": target["ErrorOutputPrefix"],
            "seconds": target["BufferingHints"]["IntervalInSeconds"],
            "mebibytes": target["BufferingHints"]["SizeInMBs"],
            "compression": target["CompressionFormat"],
            "log": [target["CloudWatchLoggingOptions"][key] for key in ("Enabled", "LogGroupName", "LogStreamName")],
        },
        "policies": {
            "trust": policy_of_template(resources["DeliveryRole"]["AssumeRolePolicyDocument"]),
            "delivery": policy_of_template(resources["DeliveryPolicy"]["PolicyDocument"]),
            "producer": policy_of_template(resources["ProducerPolicy"]["PolicyDocument"]),
            "bucket": policy_of_template(resources["BucketPolicy"]["PolicyDocument"]),
        },
    }


# What the Terraform file says, in the template's names.

NAMES = {
    "aws_s3_bucket.bucket": "Bucket",
    "aws_cloudwatch_log_group.errors": "ErrorLogGroup",
    "aws_cloudwatch_log_stream.errors": "ErrorLogStream",
    "aws_iam_role.delivery": "DeliveryRole",
    "aws_iam_policy.producer": "ProducerPolicy",
    "aws_kinesis_firehose_delivery_stream.stream": "Stream",
    "data.aws_caller_identity.current": "AWS",
}


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def reference(match):
    name, attribute = match[1].rsplit(".", 1)
    if name == "var":
        return f"<{camel(attribute)}>"
    if attribute == "account_id":
        return "<AWS::AccountId>"
    return f"<{NAMES.get(name, name)}{'.arn' if attribute == 'arn' else ''}>"


def of_terraform(value):
    if isinstance(value, list):
        return [of_terraform(item) for item in value]
    if isinstance(value, dict):
        return {of_terraform(key): of_terraform(part) for key, part in value.items() if key != "__is_block__"}
    if isinstance(value, str):
        return re.sub(r"\$\{([\w.]+)\}", reference, value.removeprefix('"').removesuffix('"'))
    return value


def policy_of_terraform(document):
    statements = []
    guarded = [
        {**of_terraform(each["statement"]["content"][0]), "only_if": re.search(r"var\.(\w+)", each["statement"]["for_each"])[1]}
        for each in ({name.strip('"'): part for name, part in dynamic.items()} for dynamic in document.get("dynamic", []))
    ]
    for statement in [*of_terraform(document["statement"]), *guarded]:
        principals = statement.get("principals", [None])[0]
        condition = {}
        for part in statement.get("condition", []):
            condition[part["test"]] = {part["variable"]: part["values"][0]}
        statements.append({
            "effect": statement["effect"],
            "actions": sorted(statement["actions"]),
            "resources": sorted(statement.get("resources", [])),
            "principal": principals and ("*" if principals["type"] == "*" else {principals["type"]: principals["identifiers"][0]}),
            "condition": condition,
            "only_if": camel(statement["only_if"]) if "only_if" in statement else None,
        })
    return statements


def terraform_facts():
    with TERRAFORM.open() as file:
        parsed = hcl2.load(file)

    def named(kind):
        blocks = {}
        for block in parsed[kind]:
            for outer, inner in block.items():
                if outer == "__is_block__":
                    continue
                if kind in ("resource", "data"):
                    for name, body in inner.items():
                        blocks[f"{outer}.{name}".replace('"', "")] = body
                else:
                    blocks[outer.strip('"')] = inner
        return blocks

    raw = named("data")
    resources = {name: of_terraform(body) for name, body in named("resource").items()}
    stream = resources["aws_kinesis_firehose_delivery_stream.stream"]
    target = stream["extended_s3_configuration"][0]
    log = target["cloudwatch_logging_options"][0]
    encryption = stream["server_side_encryption"][0]

    def of_bucket(kind):
        return resources[f"aws_s3_bucket_{kind}.bucket"]

    public = of_bucket("public_access_block")
    document = "aws_iam_policy_document"

    def default(value):
        return str(value).lower() if isinstance(value, bool) else str(of_terraform(value))

    return {
        "parameters": {
            camel(name): (default(about["default"]), of_terraform(about["description"]))
            for name, about in named("variable").items()
        },
        "outputs": {
            camel(name): (of_terraform(about["value"]), of_terraform(about["description"]))
            for name, about in named("output").items()
        },
        "bucket": {
            "encryption": of_bucket("server_side_encryption_configuration")["rule"][0][
                "apply_server_side_encryption_by_default"][0]["sse_algorithm"],
            "public access blocked": sorted(value for key, value in public.items() if key != "bucket"),
            "owner": of_bucket("ownership_controls")["rule"][0]["object_ownership"],
            "uploads end after": of_bucket("lifecycle_configuration")["rule"][0][
                "abort_incomplete_multipart_upload"][0]["days_after_initiation"],
        },
        "log": {
            "group": resources["aws_cloudwatch_log_group.errors"]["name"],
            "days": resources["aws_cloudwatch_log_group.errors"]["retention_in_days"],
            "stream": resources["aws_cloudwatch_log_stream.errors"]["name"],
        },
        "stream": {
            "name": stream["name"],
            # A stream of this resource takes them unless it has a source of its own.
            "takes direct puts": not any("source" in key for key in stream),
            "key": encryption["key_type"] if encryption["enabled"] else None,
            "bucket": target["bucket_arn"],
            "role": target["role_arn"],
            "prefix": target["prefix"],
            "error prefix": target["error_output_prefix"],
            "seconds": target["buffering_interval"],
            "mebibytes": target["buffering_size"],
            "compression": target["compression_format"],
            "log": [log["enabled"], log["log_group_name"], log["log_stream_name"]],
        },
        "policies": {
            name: policy_of_terraform(raw[f"{document}.{name}"]) for name in ("trust", "delivery", "producer", "bucket")
        },
    }


def differences(one, other, path=""):
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}, key=str):
            yield from differences(one.get(key), other.get(key), f"{path} {key}")
    elif one != other:
        yield f"{path.strip()}: CloudFormation {one!r}, Terraform {other!r}"


# What the documents say.


@functools.cache
def known_actions():
    path = pathlib.Path(cfnlint.data.AdditionalSpecs.__file__).parent / "Policies.json"
    return {service: set(about["Actions"]) for service, about in json.loads(path.read_text()).items()}


def judge_action(where, action):
    service, _, name = action.partition(":")
    if name.lower() not in known_actions().get(service, ()):
        fault(where, f"there is no action {action}")
    elif service == "firehose" and name not in model(service).operation_names:
        fault(where, f"{action} is spelled otherwise")


def judge_policy(where, policy):
    """A policy of a document: complete, of actions that exist, and for one delivery stream alone."""
    if policy.get("Version") != "2012-10-17":
        fault(where, "a policy without its Version")
    for statement in policy["Statement"]:
        unknown = set(statement) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
        if unknown or statement.get("Effect") not in ("Allow", "Deny") or not ({"Principal", "Resource"} & set(statement)):
            fault(where, f"no complete statement: {statement}")
        for action in listed(statement["Action"]):
            judge_action(where, action)
        for resource in listed(statement.get("Resource", [])):
            if not re.fullmatch(r"arn:aws:(firehose:[a-z0-9-]+:\d{12}:deliverystream/[\w.-]+|iam::\d{12}:role/[\w.-]+)", resource):
                fault(where, f"{resource} is no delivery stream or role")


@functools.cache
def session():
    return botocore.session.get_session()


@functools.cache
def model(service):
    return session().get_service_model(service)


def judge_command(where, command):
    """An `aws` command: its operation and its parameters."""
    words = command.split()
    service, operation = words[1], words[2]
    given = {word[2:].split("=")[0] for word in words[3:] if word.startswith("--")} - CLI_PARAMETERS
    if (service, operation) in CLI_OPERATIONS:
        known = CLI_OPERATIONS[service, operation]
    else:
        try:
            names = {xform_name(name, "-"): name for name in model(service).operation_names}
            shape = model(service).operation_model(names[operation]).input_shape
        except (KeyError, botocore.exceptions.UnknownServiceError):
            return fault(where, f"there is no `aws {service} {operation}`")
        known = {xform_name(name, "-") for name in shape.members}
        missing = {xform_name(name, "-") for name in shape.required_members} - given
        if missing:
            fault(where, f"`aws {service} {operation}` wants {sorted(missing)}")
    if given - known:
        fault(where, f"`aws {service} {operation}` has no {sorted(given - known)}")


def judge_task(where, task):
    shape = model("ecs").operation_model("RegisterTaskDefinition").input_shape
    report = botocore.validate.ParamValidator().validate(task, shape)
    if report.has_errors():
        fault(where, report.generate_report())


def judge_fargate(program):
    """The task definition for Fargate: what one part says of another, and the configuration of its image."""
    path = ROOT / "packaging/ecs/task-definition.json"
    task = json.loads(path.read_text())
    judge_task(path, task)
    containers = {container["name"]: container for container in task["containerDefinitions"]}
    if task["networkMode"] != "awsvpc" or task["requiresCompatibilities"] != ["FARGATE"]:
        fault(path, "is not for Fargate")
    # As Fargate sells them, up to one vCPU.
    sizes = {"256": (512, 1024, 2048), "512": range(1024, 4097, 1024), "1024": range(2048, 8193, 1024)}
    if int(task["memory"]) not in sizes[task["cpu"]]:
        fault(path, f"there is no task of {task['cpu']} and {task['memory']}")
    if sum(container["memory"] for container in containers.values()) > int(task["memory"]):
        fault(path, "the containers are larger than the task")
    volumes = {volume["name"] for volume in task["volumes"]}
    for name, container in containers.items():
        for mount in container["mountPoints"]:
            if mount["sourceVolume"] not in volumes:
                fault(path, f"{name} mounts {mount['sourceVolume']}, which is no volume")
        for other in container.get("dependsOn", []):
            if other["containerName"] not in containers:
                fault(path, f"{name} depends on {other}")
    shipper = containers["standpipe"]
    config = tomllib.loads((path.parent / "standpipe.toml").read_text())
    timeout = int(config["shutdown"]["timeout"].removesuffix("s"))
    # 120 is the most that Fargate gives.
    if not timeout < shipper["stopTimeout"] <= 120:
        fault(path, f"it is stopped after {shipper['stopTimeout']} s, and needs {timeout}")
    places = {mount["containerPath"]: mount.get("readOnly", False) for mount in shipper["mountPoints"]}
    logs = {source_path.rsplit("/", 1)[0] for source in config["source"] for source_path in source["paths"]}
    if places != {**dict.fromkeys(logs, True), "/var/lib/standpipe": False}:
        fault(path, f"it mounts {places}, and reads {logs}")
    if logs != {mount["containerPath"] for mount in containers["app"]["mountPoints"]}:
        fault(path, "the application writes elsewhere")
    if program is not None:
        said = subprocess.run([program, "check", "-c", path.parent / "standpipe.toml"], capture_output=True, text=True)
        if said.returncode != 0:
            fault(path.parent / "standpipe.toml", said.stderr)


def judge_eks():
    """The values for EKS: their commands, and that role and service account are those of the document."""
    document = (ROOT / "docs/aws.md").read_text()
    for path in sorted((ROOT / "packaging/eks").glob("*.yaml")):
        for command in commands(path.read_text()):
            judge_command(path, command)
        text = path.read_text()
        for role in re.findall(r"arn:aws:iam::\d+:role/[\w-]+", text):
            if role not in document:
                fault(path, f"the document knows no {role}")
        [(release, namespace)] = re.findall(r"^# \$ helm install (\S+) \S+ --namespace (\S+) ", text, re.MULTILINE)
        if f"system:serviceaccount:{namespace}:{release}" not in document:
            fault(path, f"the document's role does not trust {namespace}/{release}")


def judge_profile(where, text):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    for section in parser.sections():
        if section != "default" and not section.startswith("profile "):
            fault(where, f"[{section}] is no profile")


def blocks(text):
    """Each fenced block with its language."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text):
    """The commands after a prompt, each in one line."""
    for line in text.replace("\\\n", " ").splitlines():
        yield from re.findall(r"^#? *\$ (?:[A-Z_]+=\S+ )*(aws .*)", re.sub(r" +# +", " ", line))


def judge_documents():
    policies = 0
    for path in DOCUMENTS:
        for language, block in blocks(path.read_text()):
            try:
                if language == "json":
                    # Some documents show several records, one a line.
                    for value in [json.loads(block)] if "\n" in block.strip() else []:
                        if "Statement" in value:
                            policies += 1
                            judge_policy(path, value)
                        elif "containerDefinitions" in value:
                            judge_task(path, value)
                elif language == "ini":
                    judge_profile(path, block)
                elif language == "yaml":
                    list(yaml.safe_load_all(block))
                elif language == "console":
                    for command in commands(block):
                        judge_command(path, command)
            except (ValueError, KeyError, configparser.Error, yaml.YAMLError) as error:
                fault(path, f"{language}: {error!r}\n{block}")
    if policies < 8:
        fault("documents", f"only {policies} policies were found")


def judge_messages():
    """That what the document quotes is said somewhere: by the program, or, with a code in front, by the service."""
    said = "".join(path.read_text() for path in sorted((ROOT / "src").glob("**/*.rs")))
    said = re.sub(r"\\\n\s*", "", said).replace("`{", "").replace("}`", "")
    rows = (ROOT / "docs/aws.md").read_text().split("\n| message | look at |\n")[1].splitlines()[1:]
    for row in rows:
        for message in row.split("|")[1].split("`")[1::2]:
            parts = [part.strip(" ,:") for part in message.split("…") if part.strip(" ,:")]
            for part in parts:
                if re.match(r"\w+Exception", part):
                    # As the program's own list has it.
                    part = part.split(":")[0].removesuffix("Exception")
                if part not in said:
                    fault(ROOT / "docs/aws.md", f"nobody says {part!r}")
    if len(rows) < 10:
        fault(ROOT / "docs/aws.md", f"only {len(rows)} messages")


def judge_manifests():
    """That pods may go where credentials are, and have what the document's service account has."""
    document = (ROOT / "docs/aws.md").read_text()
    account = yaml.safe_load(next(block for language, block in blocks(document) if language == "yaml"))
    for path in sorted((ROOT / "packaging/kubernetes").glob("*/*.yaml")):
        for part in yaml.safe_load_all(path.read_text()):
            if part["kind"] == "ServiceAccount" and set(part["metadata"]["annotations"]) != set(account["metadata"]["annotations"]):
                fault(path, "its service account has other annotations than the document's")
            if part["kind"] == "NetworkPolicy":
                ways = [to["ipBlock"]["cidr"].split("/")[0] for rule in part["spec"]["egress"] for to in rule.get("to", [])]
                agents = re.search(r"^\| EKS Pod Identity \| (.*?) \|", document, re.MULTILINE)[1].replace("`", "").split(" or ")
                for address in [*agents, "169.254.169.254"]:
                    if address not in ways:
                        fault(path, f"its policy does not let a pod out to {address}")


def judge_heads(program):
    """The commands and the configuration in the head of each template."""
    heads = {}
    for path in TEMPLATE, TERRAFORM:
        head = path.read_text().split("\n\n", 1)[0].split("\nAWSTemplate")[0]
        plain = re.sub(r"^# ?", "", head, flags=re.MULTILINE)
        for command in commands(plain):
            judge_command(path, command)
        heads[path] = re.search(r"^  \[aws\]\n(?:  .*\n|\n)+", plain, re.MULTILINE)[0]
        if program:
            with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                file.write(re.sub(r"^  ", "", heads[path], flags=re.MULTILINE))
                file.flush()
                said = subprocess.run([program, "check", "-c", file.name], capture_output=True, text=True, check=False)
                if said.returncode:
                    fault(path, said.stderr)
    if len(set(heads.values())) > 1:
        fault("templates", "their heads name different configurations")


def judge_example(program):
    """That the example gives the module what it takes, asks of it what it has, and makes a configuration that loads."""
    with EXAMPLE.open() as file:
        example = hcl2.load(file)
    with TERRAFORM.open() as file:
        module = hcl2.load(file)

    def names(parsed, kind):
        return {name.strip('"') for block in parsed[kind] for name in block if name != "__is_block__"}

    text = EXAMPLE.read_text()
    for command in commands(re.sub(r"^# ?", "", text.split("\n\n", 1)[0], flags=re.MULTILINE)):
        judge_command(EXAMPLE, command)
    called = next(body for block in example["module"] for name, body in block.items() if name != "__is_block__")
    if (EXAMPLE.parent / called["source"].strip('"')).resolve() != TERRAFORM.parent:
        fault(EXAMPLE, f"its module is {called['source']}")
    for given in called.keys() - names(module, "variable") - {"source", "for_each", "__is_block__"}:
        fault(EXAMPLE, f"the module takes no {given}")
    asked = set(re.findall(r"(?:module\.stream\[\w+\]|each\.value)\.(\w+)", text))
    for missing in asked - names(module, "output"):
        fault(EXAMPLE, f"the module has no {missing}")
    if not asked:
        fault(EXAMPLE, "it asks the module for nothing")
    written = re.search(r"<<-TOML\n(.*?)^\s*TOML$", text, re.MULTILINE | re.DOTALL)[1]
    written = written.replace("${paths}", "/var/log/shop/*.log").replace("${module.stream[name].stream_name}", "shop-logs")
    if program:
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(written)
            file.flush()
            said = subprocess.run([program, "check", "-c", file.name], capture_output=True, text=True, check=False)
            if said.returncode:
                fault(EXAMPLE, said.stderr)


def main():
    template, terraform = template_facts(), terraform_facts()
    for difference in differences(template, terraform):
        fault("templates", difference)
    if [statement["actions"] for statement in template["policies"]["producer"]] != [PUTS, ["firehose:DescribeDeliveryStream"]]:
        fault(TEMPLATE, "the producer's policy allows other things than puts and, if asked, the description")
    for name, statements in template["policies"].items():
        for statement in statements:
            if statement["effect"] == "Allow":
                for action in statement["actions"]:
                    judge_action(f"templates: {name}", action)
                if "*" in statement["resources"]:
                    fault(f"templates: {name}", "for every resource")
    judge_documents()
    judge_messages()
    judge_manifests()
    program = sys.argv[1] if len(sys.argv) > 1 else None
    judge_fargate(program)
    judge_eks()
    judge_heads(program)
    judge_example(program)
    for each in faults:
        print(each, file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
