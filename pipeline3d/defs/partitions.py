"""One dynamic partition set per family of requests; a partition key is a request's id.

Families have disjoint asset graphs: an identity mapping between two dynamic sets would load all keys.
"""

from __future__ import annotations

import dagster as dg

from pipeline3d.values import Family

MODEL_REQUESTS = dg.DynamicPartitionsDefinition(name=Family.MODEL_REQUESTS.value)
PROBE_REQUESTS = dg.DynamicPartitionsDefinition(name=Family.PROBE_REQUESTS.value)

PARTITIONS_BY_FAMILY: dict[Family, dg.DynamicPartitionsDefinition] = {
    Family.MODEL_REQUESTS: MODEL_REQUESTS,
    Family.PROBE_REQUESTS: PROBE_REQUESTS,
}
