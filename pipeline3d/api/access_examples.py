"""Examples of signing in, keys and users, and of what earlier systems send: a part of `examples`."""

from __future__ import annotations

from typing import Any

_NOW = "2026-11-23T09:30:00.000000Z"
_USER_ID = "0199b390-3c1d-7f4b-8a2e-9d0c1b2a3f4e"
_LOGIN = {"A user": {"username": "ada", "password": "…"}}
_SESSION = {
    "username": "ada",
    "role": "member",
    "scopes": ["jobs:read", "jobs:write", "keys:write"],
    "csrf_token": "…",
    "expires_at": "2026-11-30T09:30:00.000000Z",
}
_KEY = {
    "id": "0199b391-7a44-7d90-9c1b-4e5f6a7b8c9d",
    "name": "the shop's importer",
    "prefix": "p3d_Ab12",
    "scopes": ["jobs:read", "jobs:write"],
    "max_open_jobs": 20,
    "requests_per_minute": 600,
    "monthly_cost_units": None,
    "expires_at": "2027-02-21T09:30:00.000000Z",
    "revoked_at": None,
    "last_used_at": None,
    "created_at": _NOW,
    "earlier_secret_valid_until": None,
    "current": False,
}
_USER = {
    "id": _USER_ID,
    "username": "grace",
    "role": "member",
    "is_active": True,
    "is_superuser": False,
    "compatibility": None,
    "max_concurrent_jobs": 2,
    "max_open_jobs": 100,
    "requests_per_minute": None,
    "monthly_cost_units": 1000.0,
    "created_at": _NOW,
}
_PHOTO = "https://cdn.example.com/mug.png"
_WHOSE = {"userId": "user-7", "designId": "design-12"}

ACCESS_EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/api/v1/auth/login"): {
        "request": _LOGIN,
        "200": {"api_key": "p3d_…", "username": "ada", "message": "Signed in.", "expires_in": 43200},
    },
    ("post", "/api/v1/auth/session"): {"request": _LOGIN, "200": _SESSION},
    ("get", "/api/v1/auth/session"): {"200": _SESSION},
    ("post", "/api/v1/auth/password"): {
        "request": {"Another": {"current_password": "…", "new_password": "a sentence is a good password"}}
    },
    ("post", "/api/v1/keys"): {
        "request": {
            "For a program, for 90 days": {
                "name": "the shop's importer",
                "scopes": ["jobs:read", "jobs:write"],
                "expires_in_s": 7776000,
                "max_open_jobs": 20,
                "requests_per_minute": 600,
            },
            "All that I may do": {"name": "my laptop"},
        },
        "201": {**_KEY, "api_key": "p3d_Ab12…"},
    },
    ("post", "/api/v1/keys/{key_id}/rotate"): {
        "request": {"The present secret works for another hour": {"grace_s": 3600}},
        "200": {
            **_KEY,
            "earlier_secret_valid_until": "2026-11-23T10:30:00.000000Z",
            "api_key": "p3d_Cd34…",
        },
    },
    ("patch", "/api/v1/keys/{key_id}"): {
        "request": {"Only look": {"scopes": ["jobs:read"]}, "No limit of its own": {"max_open_jobs": None}},
        "200": {**_KEY, "scopes": ["jobs:read"]},
    },
    ("post", "/api/v1/admin/users"): {
        "request": {
            "A member": {
                "username": "grace",
                "password": "a sentence is a good password",
                "max_open_jobs": 100,
                "max_concurrent_jobs": 2,
                "monthly_cost_units": 1000,
            },
            "Whose page was written for an earlier system": {
                "username": "tcc",
                "password": "a sentence is a good password",
                "compatibility": "tcc",
            },
        },
        "201": _USER,
    },
    ("patch", "/api/v1/admin/users/{user_id}"): {
        "request": {"Lock out": {"is_active": False}, "Another limit": {"monthly_cost_units": 5000}},
        "200": _USER,
    },
    ("post", "/api/v1/image-jobs/image-generation"): {
        "request": {"A picture": {"prompt": "a red ceramic mug on a shelf", "style": "vintage", **_WHOSE}}
    },
    ("post", "/api/v1/image-jobs/image-upscale"): {
        "request": {"Twice as large": {"imageUrl": _PHOTO, "scale": 2, **_WHOSE}}
    },
    ("post", "/api/v1/image-jobs/texture-blend"): {
        "request": {
            "A pattern over a photo": {
                "baseImageUrl": _PHOTO,
                "overlayImageUrl": "https://cdn.example.com/dots.png",
                "opacity": 0.5,
                "blendMode": "multiply",
                **_WHOSE,
            }
        }
    },
    ("post", "/api/v1/image-jobs/ar-preview"): {"request": {"A photo": {"baseImageUrl": _PHOTO, **_WHOSE}}},
    ("post", "/api/v1/image-jobs/design-render"): {
        "request": {
            "A texture of a text": {
                "designId": "design-12",
                "prompt": "blue waves",
                "baseTextureUrl": _PHOTO,
                "renderOptions": {"generateNormalMap": True, "size": 1024},
                "tenantId": "tenant-3",
            }
        }
    },
    ("post", "/api/v1/image-jobs/export-gltf"): {
        "request": {
            "Small": {
                "designId": "design-12",
                "modelUrl": "0199b3a1-7c52-7e3a-9a41-5f1f0e5f2c11",
                "format": "glb",
                "optimization": {"draco": True, "textureSize": 1024},
            }
        },
        "201": {
            "jobId": "0199b3b0-1d2e-7f30-8a4b-5c6d7e8f9a0b",
            "queue": "export-gltf",
            "status": "queued",
        },
    },
    ("post", "/api/models/create"): {
        "request": {
            "Photos of a product": {
                "shop": "mugs.myshopify.com",
                "productId": "gid://shopify/Product/123",
                "productHandle": "mug",
                "imageUrls": ["https://cdn.shopify.com/mug.jpg"],
                "quality": "balanced",
            }
        },
        "200": {
            "success": True,
            "jobId": "0199b3b0-1d2e-7f30-8a4b-5c6d7e8f9a0b",
            "status": "pending",
            "message": "The job was made.",
            "modelId": "product-inflate-v1",
            "tier": "embedded",
        },
    },
    ("post", "/transcribe"): {
        "request": {"A recording": {"audioUrl": "https://cdn.example.com/talk.mp3", "language": "auto"}}
    },
    ("post", "/render"): {
        "request": {
            "A picture to a recording": {
                "renderId": "render-5",
                "audioUrl": "https://cdn.example.com/talk.mp3",
                "assets": [{"id": "a1", "url": _PHOTO, "type": "image", "duration": 5}],
                "format": "vertical",
            }
        }
    },
}
