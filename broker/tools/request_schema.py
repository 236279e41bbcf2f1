#!/usr/bin/env python3
"""Makes broker/src/protocol/schema_table.rs from Apache Kafka's message definitions.

    mvn dependency:copy -Dartifact=org.apache.kafka:kafka-clients:4.1.0 -DoutputDirectory=.
    python3 broker/tools/request_schema.py kafka-clients-4.1.0.jar > broker/src/protocol/schema_table.rs
    rustfmt broker/src/protocol/schema_table.rs
"""

import json
import re
import sys
import zipfile

# Requests of clients. What only brokers and controllers send to each other has no place here.
KEYS = [*range(0, 4), *range(8, 38), 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 55, 57, 60, 61, 65, 66, 68, 69, 71, 72, 74, 75]
# The decoder (kafka-protocol 0.18) stops before the newest version of these.
LAST_DECODED = {8: 9, 9: 9, 22: 5}

FIXED = {"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "float64": 8, "uuid": 16}
PLAIN = {"string": "Text", "bytes": "Bytes", "records": "Bytes"}


def versions(text):
    """First and last version of `3+`, `2-4`, `7` or `none`; None when empty."""
    if text in (None, "none"):
        return None
    if text.endswith("+"):
        return int(text[:-1]), "LAST"
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def constant(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


class Message:
    def __init__(self, definition):
        self.definition = definition
        self.name = definition["name"].removesuffix("Request")
        self.structs = {}
        self.out = []
        self.common = {struct["name"]: struct["fields"] for struct in definition.get("commonStructs", [])}

    def kind(self, type_name, fields):
        if type_name.startswith("[]"):
            return f"Array(&{self.kind(type_name[2:], fields)})"
        if type_name in FIXED:
            return f"Fixed({FIXED[type_name]})"
        if type_name in PLAIN:
            return PLAIN[type_name]
        return f"Struct(&{self.struct(type_name, fields or self.common[type_name])})"

    def struct(self, name, fields):
        label = constant(self.name + "_" + name)
        if label not in self.structs:
            self.structs[label] = True
            lines = [self.field(field) for field in fields]
            self.out.append(f"static {label}: [Field; {len(lines)}] = [{', '.join(lines)}];")
        return label

    def field(self, field):
        assert "flexibleVersions" not in field, field
        first, last = versions(field["versions"])
        line = f'field("{field["name"]}", {self.kind(field["type"], field.get("fields"))}, {first}, {last})'
        nullable = versions(field.get("nullableVersions"))
        if nullable:
            line += f".nullable({nullable[0]}, {nullable[1]})"
        tagged = versions(field.get("taggedVersions"))
        if tagged:
            assert tagged[1] == "LAST" and tagged[0] <= first, field
            line += f".tagged({field['tag']})"
        return line

    def entry(self):
        key = self.definition["apiKey"]
        first, last = versions(self.definition["validVersions"])
        flexible = versions(self.definition["flexibleVersions"])
        root = self.struct("Request", self.definition["fields"])
        last = LAST_DECODED.get(key, last)
        flexible = flexible[0] if flexible else "i16::MAX"
        return f"{key} => Message {{ first: {first}, last: {last}, flexible: {flexible}, fields: &{root} }},"


def main():
    definitions = {}
    with zipfile.ZipFile(sys.argv[1]) as jar:
        for name in jar.namelist():
            if re.fullmatch(r"common/message/\w+Request\.json", name):
                text = re.sub(r"^\s*//.*$", "", jar.read(name).decode(), flags=re.MULTILINE)
                definition = json.loads(text)
                definitions[definition["apiKey"]] = definition
    messages = [Message(definitions[key]) for key in KEYS if key in definitions]
    entries = [message.entry() for message in messages]
    print("//! Requests as Apache Kafka defines them. Made by `broker/tools/request_schema.py`; not edited by hand.\n")
    print("use super::schema::Kind::{Array, Bytes, Fixed, Struct, Text};")
    print("use super::schema::{Field, LAST, Message, field};\n")
    for message in messages:
        print("\n".join(message.out) + "\n")
    keys = ", ".join(str(message.definition["apiKey"]) for message in messages)
    print(f"/// Every key that [`message`] knows.\n#[cfg(test)]\npub(super) const KEYS: &[i16] = &[{keys}];\n")
    print("/// The request with this key.\npub(super) fn message(key: i16) -> Option<Message> {")
    print("Some(match key {\n" + "\n".join(entries) + "\n_ => return None,\n})\n}")


main()
