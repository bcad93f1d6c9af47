"""Examples of requests and answers, as the documentation shows them; a test holds them against the forms.

Those of signing in, keys, users and the forms of earlier systems are in `access_examples`.
"""

from __future__ import annotations

from typing import Any

from pipeline3d.api.access_examples import ACCESS_EXAMPLES

JOB_ID = "0199b3a1-7c52-7e3a-9a41-5f1f0e5f2c11"
_JOB_PATH = f"/api/v1/jobs/{JOB_ID}"
_NOW = "2026-11-23T09:30:00.000000Z"
_SHA256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
_UPLOAD_ID = "6e1c0a52-0a5e-4b7e-9a57-2f7b1f0c9a11"
_UPLOAD = "uploads/inputs/0199b39e-01aa-7bbb-8c11-2f6d3f0f4b0e/6e1c0a52-0a5e-4b7e-9a57-2f7b1f0c9a11-mug.jpg"

PROBLEM_EXAMPLE: dict[str, Any] = {
    "type": "/problems/missing_image",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "Inflate makes a model of a picture, and input_params.input_path names none.",
    "code": "missing_image",
    "hint": "Get an upload ticket, PUT the picture, then send its object_name as input_path.",
}

QUEUED_JOB: dict[str, Any] = {
    "id": JOB_ID,
    "model_id": "inflate-v1",
    "kind": "image_to_3d",
    "tier": "embedded",
    "prompt": None,
    "input_params": {"input_path": _UPLOAD, "quality": "balanced"},
    "params": {"quality": "balanced", "seed": 0, "delivers": "bundle"},
    "status": "QUEUED",
    "priority": 0,
    "progress_percent": 0,
    "progress": {"percent": 0, "stage": None, "stage_number": 0, "stage_count": 13, "message": ""},
    "attempt": 1,
    "max_attempts": 3,
    "error": None,
    "artifacts": [],
    "stage_seconds": {},
    "links": {
        "self": _JOB_PATH,
        "events": f"{_JOB_PATH}/events",
        "artifacts": f"{_JOB_PATH}/artifacts",
        "download": f"{_JOB_PATH}/download",
        "archive": f"{_JOB_PATH}/archive",
        "shares": f"{_JOB_PATH}/shares",
        "webhooks": f"{_JOB_PATH}/webhooks",
        "cancel": f"{_JOB_PATH}/cancel",
        "retry": f"{_JOB_PATH}/retry",
        "rerun": f"{_JOB_PATH}/rerun",
        "input": None,
        "lineage": None,
    },
    "tags": ["spring"],
    "metadata": {"sku": "MUG-12"},
    "created_at": "2026-11-23T09:30:00.000000Z",
    "updated_at": "2026-11-23T09:30:00.000000Z",
    "started_at": None,
    "completed_at": None,
    "queue_position": 1,
    "estimated_start_at": "2026-11-23T09:30:01.000000Z",
    "estimated_completion_at": "2026-11-23T09:30:09.000000Z",
    "held": False,
    "waiting_reason": None,
    "input_job_id": None,
    "rerun_of": None,
    "batch_id": None,
    "cost_units": 1.0,
    "deadline": None,
    "expires_at": None,
}

_TICKETS = {
    "A photo": {"filename": "mug.jpg", "content_type": "image/jpeg"},
    "A model of known size and content": {
        "filename": "chair.glb",
        "content_type": "model/gltf-binary",
        "size": 412_316,
        "sha256": _SHA256,
    },
}
_TICKET = {
    "id": _UPLOAD_ID,
    "upload_url": "https://objects.example.com/pipeline3d/uploads/…?X-Amz-Signature=…",
    "object_name": _UPLOAD,
    "expires_in": 300,
    "max_bytes": 52_428_800,
    "headers": {"Content-Type": "image/jpeg"},
    "already_stored": False,
}
_UPLOADED = {
    "id": _UPLOAD_ID,
    "object_name": _UPLOAD,
    "filename": "mug.jpg",
    "content_type": "image/jpeg",
    "size": 183_204,
    "sha256": _SHA256,
    "verified": True,
    "created_at": _NOW,
    "expires_at": "2026-11-23T09:35:00.000000Z",
    "stored_at": "2026-11-23T09:30:02.000000Z",
}
_SHARE = {
    "id": "0199b3a9-5d10-7c22-9b1f-7a1e0d3c8f42",
    "job_id": JOB_ID,
    "scope": "result",
    "prefix": "Qk7dT2",
    "expires_at": "2026-11-30T09:30:00.000000Z",
    "revoked_at": None,
    "last_used_at": None,
    "uses": 0,
    "created_at": _NOW,
}
_BATCH_ID = "0199b3a5-2f00-7aa1-8d0c-52f1a7e9b3d4"
_REFUSED = {
    "index": 1,
    "line": None,
    "name": None,
    "code": "missing_prompt",
    "detail": "Sculpt makes a model of a text, and prompt is empty.",
    "hint": None,
    "errors": None,
}
_DELIVERY = {
    "id": 4711,
    "message_id": "msg_0199b3a8-64b1-7e0d-9a0e-3f4c1e5d7a90",
    "webhook_id": "0199b3a2-11f0-7d1c-8c55-0c9f6d2b7e42",
    "job_id": JOB_ID,
    "event": "job.succeeded",
    "format": "standard",
    "url": "https://shop.example.com/hooks/3d",
    "status": "DELIVERED",
    "attempt_count": 1,
    "next_attempt_at": None,
    "last_status": 200,
    "last_error": None,
    "created_at": _NOW,
    "delivered_at": _NOW,
}
_WEBHOOK = {
    "id": "0199b3a2-11f0-7d1c-8c55-0c9f6d2b7e42",
    "url": "https://shop.example.com/hooks/3d",
    "description": "",
    "events": [],
    "is_active": True,
    "failing_since": None,
    "disabled_at": None,
    "disabled_reason": None,
    "created_at": _NOW,
    "updated_at": _NOW,
}
_SECRET = {"secret": "whsec_…", "previous_valid_until": "2026-11-24T09:30:00.000000Z"}

JOB_EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/api/v1/jobs/upload-ticket"): {"request": _TICKETS, "200": _TICKET},
    ("post", "/api/v1/uploads/ticket"): {"request": _TICKETS, "200": _TICKET},
    ("post", "/api/v1/uploads/"): {"201": {**_UPLOADED, "already_stored": False}},
    ("get", "/api/v1/uploads/{upload_id}"): {"200": _UPLOADED},
    ("post", "/api/v1/uploads/{upload_id}/complete"): {"200": _UPLOADED},
    ("post", "/api/v1/jobs/"): {
        "request": {
            "A photo": {
                "model_id": "inflate-v1",
                "input_params": {"input_path": _UPLOAD, "quality": "balanced"},
                "tags": ["spring"],
                "metadata": {"sku": "MUG-12"},
            },
            "A text": {"model_id": "sculpt-v1", "prompt": "a red ceramic mug"},
            "The model of another job, for a slicer": {
                "model_id": "export-v1",
                "input_params": {"source_job_id": JOB_ID, "formats": ["stl", "3mf"], "target": "slicer"},
            },
            "Photos of a product": {
                "model_id": "product-inflate-v1",
                "input_params": {
                    "shop": "mugs.example.com",
                    "product_id": "123",
                    "image_urls": ["https://mugs.example.com/123/front.jpg"],
                },
            },
        },
        "201": QUEUED_JOB,
    },
    ("post", "/api/v1/jobs/estimate"): {
        "request": {"A text": {"model_id": "sculpt-v1", "prompt": "a red ceramic mug"}},
        "200": {
            "model_id": "sculpt-v1",
            "cost_units": 1.0,
            "seconds_median": 8.2,
            "seconds_p90": 11.5,
            "queue_wait_s": 0.0,
            "basis": "history of 50 jobs",
        },
    },
    ("post", "/api/v1/jobs/batch"): {
        "request": {
            "Two texts": {
                "name": "spring",
                "defaults": {"model_id": "sculpt-v1", "tags": ["spring"]},
                "jobs": [{"prompt": "a red ceramic mug"}, {"prompt": "a blue bowl", "priority": 5}],
            }
        },
        "201": {
            "batch_id": _BATCH_ID,
            "name": "spring",
            "created": [{"index": 0, "id": JOB_ID, "model_id": "sculpt-v1"}],
            "refused": [],
        },
        "207": {
            "batch_id": _BATCH_ID,
            "name": "spring",
            "created": [{"index": 0, "id": JOB_ID, "model_id": "sculpt-v1"}],
            "refused": [_REFUSED],
        },
    },
    ("get", "/api/v1/jobs/batches/{batch_id}"): {
        "200": {
            "batch_id": _BATCH_ID,
            "name": "spring",
            "source": "json",
            "size": 2,
            "refused_count": 1,
            "counts": {"RUNNING": 1},
            "created_at": _NOW,
            "jobs": [{"id": JOB_ID, "model_id": "sculpt-v1", "status": "RUNNING"}],
            "refused": [_REFUSED],
        }
    },
    ("post", "/api/v1/jobs/{job_id}/rerun"): {
        "request": {
            "As it was": {},
            "Finer, and another seed": {"input_params": {"quality": "quality", "seed": 7}},
        },
        "201": {**QUEUED_JOB, "rerun_of": "0199b3a0-0d4e-7b11-8f3a-1c2d3e4f5a6b"},
    },
    ("get", "/api/v1/jobs/counts"): {
        "200": {
            "total": 12,
            "capped": False,
            "by_status": {"SUCCEEDED": 10, "RUNNING": 1, "FAILED": 1},
            "by_model": {"inflate-v1": 8, "sculpt-v1": 4},
            "by_kind": {"image_to_3d": 8, "text_to_3d": 4},
        }
    },
    ("get", "/api/v1/jobs/{job_id}"): {"200": QUEUED_JOB},
    ("patch", "/api/v1/jobs/{job_id}"): {
        "request": {
            "Tags and a field": {"tags": ["spring"], "metadata": {"order": "17"}},
            "Sooner": {"priority": 50},
        },
        "200": QUEUED_JOB,
    },
    ("post", "/api/v1/jobs/{job_id}/extend"): {
        "request": {"A day from now": {"expires_in_s": 86400}, "For ever": {"expires_at": None}}
    },
    ("post", "/api/v1/jobs/actions"): {
        "request": {"End two": {"action": "cancel", "ids": [JOB_ID, _BATCH_ID]}},
        "200": {
            "action": "cancel",
            "done": 1,
            "refused": 1,
            "results": [
                {"id": JOB_ID, "ok": True, "status": "CANCELED", "code": None, "detail": None, "hint": None},
                {
                    "id": _BATCH_ID,
                    "ok": False,
                    "status": None,
                    "code": "unknown_job",
                    "detail": f"There is no job {_BATCH_ID}.",
                    "hint": None,
                },
            ],
        },
    },
    ("post", "/api/v1/jobs/{job_id}/shares"): {
        "request": {
            "The result, for a week": {"scope": "result", "expires_in_s": 604800},
            "Everything, until it is revoked": {"scope": "artifacts"},
        },
        "201": {**_SHARE, "url": "https://3d.example.com/s/Qk7dT2…", "token": "Qk7dT2…"},
    },
    ("get", "/api/v1/jobs/{job_id}/download"): {
        "200": {
            "download_url": "https://objects.example.com/pipeline3d/jobs/…/model.glb?X-Amz-Signature=…",
            "expires_in": 3600,
            "filename": f"{JOB_ID}-model.glb",
            "content_type": "model/gltf-binary",
            "size": 412_316,
            "sha256": _SHA256,
        }
    },
    ("post", "/api/v1/webhooks"): {
        "request": {
            "How jobs end": {"url": "https://shop.example.com/hooks/3d"},
            "Each file as it lands": {
                "url": "https://shop.example.com/hooks/files",
                "events": ["job.artifact", "job.failed"],
                "description": "the shop's importer",
            },
        },
        "201": {**_WEBHOOK, "secret": "whsec_…"},
    },
    ("patch", "/api/v1/webhooks/{webhook_id}"): {
        "request": {"Only failures": {"events": ["job.failed"]}, "Switch it off": {"is_active": False}},
        "200": {**_WEBHOOK, "events": ["job.failed"]},
    },
    ("post", "/api/v1/webhooks/{webhook_id}/rotate-secret"): {"200": _SECRET},
    ("post", "/api/v1/webhooks/secret/rotate"): {"200": _SECRET},
    ("post", "/api/v1/webhooks/{webhook_id}/test"): {
        "202": {**_DELIVERY, "event": "webhook.test", "job_id": None}
    },
    ("post", "/api/v1/webhooks/{webhook_id}/recover"): {
        "request": {"Since the receiver was down": {"since": _NOW}},
        "202": {"queued": 17},
    },
    ("get", "/api/v1/webhooks/deliveries/{delivery_id}"): {
        "200": {
            **_DELIVERY,
            "attempts": [
                {
                    "number": 1,
                    "status": 200,
                    "error": None,
                    "milliseconds": 41,
                    "answer": "ok",
                    "created_at": _NOW,
                }
            ],
            "body": f'{{"type":"job.succeeded","timestamp":"{_NOW}","data":{{"job_id":"{JOB_ID}"}}}}',
        }
    },
}

EXAMPLES = JOB_EXAMPLES | ACCESS_EXAMPLES
