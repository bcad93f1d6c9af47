"""Examples of requests and answers, as the documentation shows them; a test holds them against the forms."""

from __future__ import annotations

from typing import Any

JOB_ID = "0199b3a1-7c52-7e3a-9a41-5f1f0e5f2c11"
_JOB_PATH = f"/api/v1/jobs/{JOB_ID}"
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

EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/api/v1/auth/login"): {"request": {"A user": {"username": "ada", "password": "…"}}},
    ("post", "/api/v1/jobs/upload-ticket"): {
        "request": {
            "A photo": {"filename": "mug.jpg", "content_type": "image/jpeg"},
            "A model": {"filename": "chair.glb", "content_type": "model/gltf-binary"},
        },
    },
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
    ("get", "/api/v1/jobs/{job_id}"): {"200": QUEUED_JOB},
    ("get", "/api/v1/jobs/{job_id}/download"): {
        "200": {
            "download_url": "https://objects.example.com/pipeline3d/jobs/…/model.glb?X-Amz-Signature=…",
            "expires_in": 3600,
            "filename": f"{JOB_ID}-model.glb",
            "content_type": "model/gltf-binary",
            "size": 412_316,
            "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
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
        "201": {
            "id": "0199b3a2-11f0-7d1c-8c55-0c9f6d2b7e42",
            "url": "https://shop.example.com/hooks/3d",
            "description": "",
            "events": [],
            "is_active": True,
            "failing_since": None,
            "disabled_at": None,
            "disabled_reason": None,
            "created_at": "2026-11-23T09:30:00.000000Z",
            "updated_at": "2026-11-23T09:30:00.000000Z",
            "secret": "whsec_…",
        },
    },
}
