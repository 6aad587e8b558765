"""Transform: fit the principal components by which block 1 changes encoders, on the training pictures alone."""

import numpy as np

from vlmatch.embeddings.store import Store, sha256_of
from vlmatch.objects import task
from vlmatch.vlm.features import cached_features
from vlmatch_study.principal_components import PrincipalComponents
from vlmatch_study.settings import TransformSettings


@task
def transform(settings: TransformSettings) -> None:
    """Write the components of each of `task.encoders`, fitted on the pictures of `recipe.data`, to `task.folder`."""
    split, data = settings.split.build(), settings.recipe.data
    items = split.share(data)
    for encoder in settings.task.encoders:
        features = cached_features(items, encoder, Store(settings.store), settings.trainer)[0][:, 0].numpy()
        fitted = PrincipalComponents.fit(features)
        about = {"encoder": encoder.name, "data": data, "split": split.fingerprint, "features": sha256_of(features)}
        path = settings.task.folder / f"{encoder.name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        fitted.write(path, about)
        n, width = features.shape
        shares = np.cumsum(fitted.variances) / fitted.variances.sum()
        print(
            f"{path}: {len(fitted.variances)} components of {n} pictures and {width} dimensions; the first 10 hold "
            f"{shares[min(9, len(shares) - 1)]:.0%} of the variance, the last one "
            f"{fitted.variances[-1] / fitted.variances[0]:.1e} of the first one's",
            flush=True,
        )
