"""Classification: handwritten digits, 8 by 8 pixels each, in scikit-learn's own tools.

python -m pip install "fcbackends[sklearn]"
python examples/digits.py
"""

from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV, train_test_split

from fcbackends.sklearn import FCClassifier

x, t = load_digits(return_X_y=True)
x, x_test, t, t_test = train_test_split(x / 16, t, test_size=0.25, stratify=t, random_state=0)

# An estimator as any other: searches, pipelines and cross-validation take it as it is.
search = GridSearchCV(
    FCClassifier(learning_rate_init=0.005, max_iter=200, tol=1e-3, random_state=0),
    {"hidden_layer_sizes": [(16,), (64,)], "alpha": [1e-4, 1e-2]},
    cv=3,
)
search.fit(x, t)
network = search.best_estimator_

print(f"best of {len(search.cv_results_['params'])}: {search.best_params_}")
print(f"accuracy {network.score(x_test, t_test):.3f} on {len(x_test)} digits it never saw")
print("rows: what a digit is; columns: what it was taken for")
print(confusion_matrix(t_test, network.predict(x_test)))
print(f"digest {network.digest_}")  # the same on every machine, for any number of jobs
